"""Groups of TensorFlow operators that need no converter of their own."""

from __future__ import annotations

# operators outside the vocabulary that compute no products: on strings, of counts and positions
_WITHOUT_PRODUCTS = (
    "Angle BitwiseAnd BitwiseOr BitwiseXor Complex Conj Imag Invert LeftShift NextAfter Real RightShift "
    "ComplexAbs Cross Diag DiagPart HistogramFixedWidth MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 RandomShuffle "
    "SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum SparseSegmentMean SparseSegmentSum SparseSegmentSqrtN "
    "UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum "
    "Betainc Digamma Erfinv Igamma Igammac Lgamma Ndtri Polygamma Xlog1py Xlogy Zeta "
    "AsString Base64Decode Bincount Bucketize DecodeBase64 DecodeJpeg DecodeImage DecodePng DecodeRaw DenseBincount "
    "EncodeBase64 Fingerprint ImageProjectiveTransformV2 ImageProjectiveTransformV3 InvertPermutation "
    "MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV3 "
    "NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 "
    "CombinedNonMaxSuppression RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat "
    "StringJoin StringLength StringLower StringStrip StringToHashBucket StringToHashBucketFast "
    "StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeScript Unique UniqueV2 Where"
)
WITHOUT_PRODUCTS = frozenset(_WITHOUT_PRODUCTS.split())
SIZE_OPS = frozenset(("Shape", "ShapeN", "Rank", "Size"))  # which read no contents
PASSING_OPS = frozenset(("Identity", "PartitionedCall", "StatefulPartitionedCall"))  # on to others, without reading
# that write to a variable, all of it or parts; AssignSubVariableOp is what optimisers do to weights
_WRITING = (
    "AssignVariableOp AssignAddVariableOp ResourceStridedSliceAssign ResourceScatterUpdate ResourceScatterAdd "
    "ResourceScatterMul ResourceScatterDiv ResourceScatterMin ResourceScatterMax ResourceScatterNdUpdate "
    "ResourceScatterNdAdd ResourceScatterNdMin ResourceScatterNdMax"
)
WRITING_OPS = frozenset(_WRITING.split())
