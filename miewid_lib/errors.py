"""The errors that users of the book can meet; each message is one line and says what to do."""


class MiewidError(ValueError):
    """Base of all errors that are about the input rather than about the code."""


class AnnotationError(MiewidError):
    """An annotation file or table breaks the documented schema."""


class ImageError(MiewidError):
    """A photo cannot be read, or a box has no pixel inside it."""


class SplitError(MiewidError):
    """The requested split cannot be reached with these identities."""


class RetrievalError(MiewidError):
    """Embeddings and identities do not fit together."""


class WeightsError(MiewidError):
    """A file of weights is missing, of the wrong format or of another network."""


class PageError(MiewidError):
    """A chapter and its parameters, or a page and its chapter, do not match."""


class StageError(MiewidError):
    """A file that an earlier chapter writes is not there yet."""


class ChartError(MiewidError):
    """A table lacks what a chart is asked to draw."""
