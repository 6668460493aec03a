"""Operators whose shape functions run in this process: those of networks.

The shape functions of each were run on hundreds of random nodes and did not end the process
(`benchmarks/fuzz/tensorflow_files.py`). Those of all others run in a process of their own.
"""

from __future__ import annotations

from cgir.ops import TF_NAMES

from .operator_checks import FOLDABLE

_OTHERS = (
    "AdjustContrastv2 AdjustHue AdjustSaturation Angle AnonymousHashTable AnonymousMutableDenseHashTable "
    "AnonymousMutableHashTable AnonymousMutableHashTableOfTensors ApproximateEqual AsString Assert Assign AssignAdd "
    "AssignAddVariableOp AssignSubVariableOp AssignVariableOp Batch BatchNormWithGlobalNormalization BatchToSpace "
    "BesselI0e BesselI1e Betainc Bincount BlockLSTM BlockLSTMV2 Bucketize CTCGreedyDecoder CheckNumericsV2 Cholesky "
    "CombinedNonMaxSuppression Complex ComplexAbs Conj Conv Copy CopyHost CropAndResize Cross CudnnRNN CudnnRNNV2 "
    "CudnnRNNV3 CumulativeLogsumexp DataFormatDimMap DataFormatVecPermute DebugGradientIdentity DebugIdentity "
    "DebugIdentityV2 DecodeBase64 DecodeImage DecodeJpeg DecodePng DecodeRaw DenseBincount Dequantize Diag DiagPart "
    "Digamma Dilation2D DynamicPartition DynamicStitch EagerPyFunc EditDistance Einsum Empty EmptyTensorList "
    "EncodeBase64 Erfinv ExtractVolumePatches FFT3D FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars "
    "FakeQuantWithMinMaxVarsPerChannel FractionalAvgPool FractionalMaxPool FusedPadConv2D FusedResizeAndPadConv2D "
    "GRUBlockCell HSVToRGB HashTable HashTableV2 HistogramFixedWidth Igamma Igammac Imag ImageProjectiveTransformV2 "
    "ImageProjectiveTransformV3 InTopK InTopKV2 InitializeTable InitializeTableV2 InplaceAdd InplaceUpdate "
    "IsVariableInitialized L2Loss LSTMBlockCell Lgamma LogMatrixDeterminant LogUniformCandidateSampler "
    "LookupTableExport LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImportV2 LookupTableSize "
    "LookupTableSizeV2 LowerBound MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 "
    "MatrixDiagV2 MatrixDiagV3 MatrixExponential MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 "
    "MatrixSolve MatrixTriangularSolve MaxPoolWithArgmax Merge Multinomial MutableDenseHashTable "
    "MutableDenseHashTableV2 MutableHashTable MutableHashTableOfTensors MutableHashTableOfTensorsV2 "
    "MutableHashTableV2 Ndtri NextAfter NoOp NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 "
    "NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps NthElement ParallelConcat "
    "ParallelDynamicStitch ParseExample ParseExampleV2 PartitionedCall Placeholder PlaceholderV2 "
    "PlaceholderWithDefault Polygamma PopulationCount Print PyFunc PyFuncStateless Qr QuantizeAndDequantizeV2 "
    "QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeDownAndShrinkRange QuantizeV2 QuantizedAvgPool "
    "QuantizedBiasAdd QuantizedConcat QuantizedConv2D QuantizedMatMul QuantizedMaxPool QuantizedRelu QuantizedReshape "
    "RGBToHSV RaggedBincount RaggedGather RaggedRange RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant "
    "RandomStandardNormal RandomUniform RandomUniformInt Real ReduceJoin RefMerge RefSwitch RegexFullMatch "
    "RegexReplace RemoteCall RequantizationRange Requantize ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate "
    "ResourceStridedSliceAssign ReverseSequence ScaleAndTranslate ScatterNdAdd ScatterNdUpdate SegmentMax SegmentMean "
    "SegmentMin SegmentProd SegmentSum SegmentSumV2 SelfAdjointEigV2 SetSize ShapeN SobolSample "
    "SoftmaxCrossEntropyWithLogits SpaceToBatch SparseAdd SparseConcat SparseFillEmptyRows SparseMatMul SparseReorder "
    "SparseReshape SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SparseSlice "
    "SparseSoftmaxCrossEntropyWithLogits SparseSplit SparseTensorDenseMatMul SparseToDense StatefulPartitionedCall "
    "StatefulStandardNormalV2 StatefulUniform StatelessMultinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter "
    "StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform "
    "StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal "
    "StatelessTruncatedNormalV2 StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength "
    "StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast "
    "StringToHashBucketStrong StringToNumber StringUpper Substr Svd Switch TensorArrayCloseV3 TensorArrayConcatV3 "
    "TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 "
    "TensorArrayWriteV3 TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather "
    "TensorListGetItem TensorListLength TensorListPushBack TensorListReserve TensorListResize TensorListScatter "
    "TensorListSetItem TensorListSplit TensorListStack TensorScatterMax TensorScatterMin TensorScatterSub "
    "TensorStridedSliceUpdate TileGrad Timestamp TopK TridiagonalMatMul TridiagonalSolve TruncatedNormal "
    "UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UniformDequantize UniformQuantize "
    "UniformQuantizedConvolution UniformQuantizedDot UniqueV2 UniqueWithCounts UniqueWithCountsV2 UnravelIndex "
    "UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound "
    "VarHandleOp VarIsInitializedOp Variable VariableV2 XlaConvV2 XlaDot XlaDynamicSlice XlaEinsum XlaGather XlaPad "
    "XlaReduce XlaSelfAdjointEig XlaSort Zeta _Arg _FusedBatchNormEx _FusedConv2D _FusedConv3D "
    "_FusedDepthwiseConv2dNative _FusedMatMul _Retval"
)
TRIED = frozenset((*TF_NAMES, *FOLDABLE, *_OTHERS.split()))
