"""Operations and layers of Keras by name, in groups that are imported alike."""

from __future__ import annotations

# operations that have weights of their own
WEIGHTED = ("Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose", "BatchNorm", "LayerNorm", "RMSNorm")

_WITHOUT_PRODUCTS = (
    "AllClose Angle Arange Argpartition Array Average Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot "
    "BitwiseOr BitwiseRightShift BitwiseXor Cbrt Conj Conjugate CropImages Cross Deg2rad Diag Diagflat Diff Digitize "
    "Discretization Dsplit EmptyLike Erfinv ExtractSequences Fabs FakeQuantWithMinMaxVars Fmax Fmin Full FullLike Gcd "
    "Geomspace HSVToRGB HashedCrossing Hashing Heaviside Histogram Hsplit Hypot I0 Imag InTopK IsIn Isclose Isneginf "
    "Isposinf Isreal Kron Lcm Ldexp LeftShift Linspace Logaddexp Logaddexp2 Logspace MapCoordinates Median Moments "
    "MultiHot NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmedian Nanpercentile Nanprod Nanquantile Nanstd "
    "Nanvar Ndim Nextafter Nonzero OnesLike PadImages Percentile Polar Ptp Quantile RGBToHSV Rad2deg Real Rearrange "
    "RightShift SearchSorted SegmentMax SegmentMin SegmentProd SegmentReduction SegmentSum Select Signbit Size "
    "SparsePlus SparseSigmoid Sparsemax Squareplus Trapezoid Unique UnravelIndex View ViewAsComplex ViewAsReal Vsplit "
    "ZerosLike"
)
# what the vocabulary does not have and multiplies no matrices
WITHOUT_PRODUCTS = frozenset(_WITHOUT_PRODUCTS.split())
