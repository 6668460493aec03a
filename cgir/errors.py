"""Every error the library raises on bad input: what, where, found, expected, what to do."""


class CgirError(ValueError):
    """Root of the library's errors; the message is one line meant for the user."""


class InvalidGraphError(CgirError):
    """A graph breaks an invariant listed in `cgir.verify`."""


class FileFormatError(CgirError):
    """A file is damaged, truncated, foreign or of a newer version."""


class SpecError(CgirError):
    """An architecture string or specification does not belong to its search space."""


class TraceError(CgirError):
    """A model cannot be followed: the message names the operator and the user's own line."""


class UnsupportedOpError(TraceError):
    """`strict=True` met an operator that the vocabulary does not know."""


class LabelError(CgirError):
    """Labels that nothing can be learned from: missing, not finite, constant or too few."""
