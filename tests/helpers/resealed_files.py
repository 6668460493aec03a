"""Files that were changed on purpose, with checksums that are right again: what stands behind a checksum is reached."""

import json
import re

from cgir.checksums import KEY, PARQUET_KEY, UNSEALED, seal_parquet, sealed_json


def resealed_json(data):
    """The bytes of a JSON file or line with their checksum; those of anything else as they are."""
    try:
        content = json.loads(data)
    except ValueError:
        return data
    if not isinstance(content, dict) or KEY not in content:
        return data
    return sealed_json({key: value for key, value in content.items() if key != KEY})


def reseal_parquet(path):
    """Put the checksum of a Parquet file's new footer in place of the old one's, where it has one."""
    data = re.sub(
        PARQUET_KEY.encode() + rb"\x18\x08[0-9a-f]{8}", f"{PARQUET_KEY}\x18\x08{UNSEALED}".encode(), path.read_bytes()
    )
    path.write_bytes(data)
    if PARQUET_KEY.encode() in data:
        seal_parquet(path)
