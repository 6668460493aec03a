"""`python -m frontends.tables.lemur WHEEL OUT`: the graphs of LEMUR's networks on CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from cgir.errors import CgirError
from frontends import tables

from .network_process import LIMITS
from .store_writer import write_graphs
from .wheel import VERSION

TABLES = ("lemur_fixed_recipe", "lemur_networks")
log = logging.getLogger("frontends.tables.lemur")


def main() -> int:
    """Trace, count what failed, and say why."""
    parser = argparse.ArgumentParser(prog="python -m frontends.tables.lemur", description=__doc__)
    parser.add_argument("wheel", help=f"of PyPI: pip download --no-deps nn-dataset=={VERSION}")
    parser.add_argument("out", help="folder of the store; run again to resume")
    parser.add_argument("--table", choices=TABLES, default=TABLES[0], help="whose networks (default: %(default)s)")
    parser.add_argument("--dataset", choices=("cifar-10", "cifar-100"), default="cifar-10")
    parser.add_argument("--limits", help=f"of one network (default: seconds={LIMITS.seconds:g},bytes={LIMITS.bytes})")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        limits = LIMITS.changed(arguments.limits) if arguments.limits else LIMITS
        table = tables.load(arguments.table).only(dataset=arguments.dataset)
        failures = write_graphs(arguments.wheel, table, arguments.out, limits)
    except CgirError as error:
        log.error("error: %s", error)
        return 1
    named = len({name for name in table.graph_names if name})
    log.info("%d networks: %d traced, %d not:", named, named - len(failures), len(failures))
    for reason, count in Counter(reason.partition(": ")[2][:80] for reason in failures.values()).most_common(20):
        log.info("%6d  %s", count, reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
