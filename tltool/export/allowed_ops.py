"""The operations of TensorFlow that a SavedModel may contain to be loaded without ``--trust``.

They compute and touch nothing else: no file, no network, no process, no Python. The list contains
all operations of the exports of tltool and the usual ones of exports of Keras. An operation that is
not in it is refused, also one of a later TensorFlow.
"""

from __future__ import annotations

_ARITHMETIC = """
    Abs Acos Acosh Add AddN AddV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh BiasAdd
    BiasAddV1 Bitcast BitwiseAnd BitwiseOr BitwiseXor Cast Ceil ClipByValue Complex ComplexAbs
    Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp Digamma Div DivNoNan Equal Erf Erfc
    Erfinv Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma Igammac Imag Inv Invert
    IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr
    Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma Pow Real RealDiv
    Reciprocal RightShift Rint Round Rsqrt Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub
    Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
_REDUCTIONS = """
    All Any ArgMax ArgMin Bincount DenseBincount EuclideanNorm HistogramFixedWidth InTopK InTopKV2
    L2Loss Max Mean Min NthElement Prod SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum
    Sum TopK TopKV2 Unique UniqueV2 UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum Where
"""
_LINEAR_ALGEBRA = """
    BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Diag DiagPart Einsum FFT FFT2D FFT3D IFFT
    IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D LogMatrixDeterminant MatMul MatrixBandPart
    MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2
    MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve
    MatrixTriangularSolve Qr RFFT RFFT2D RFFT3D SelfAdjointEigV2 Svd
"""
_SHAPES = """
    BatchToSpace BatchToSpaceND BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2
    ConjugateTranspose Const DepthToSpace DynamicPartition DynamicStitch EnsureShape ExpandDims
    ExtractImagePatches Fill Gather GatherNd GatherV2 Identity IdentityN InvertPermutation
    LinSpace ListDiff LowerBound MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch
    PreventGradient Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Select
    SelectV2 Shape ShapeN Size Slice SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze
    StopGradient StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate Tile Transpose UnravelIndex Unpack UpperBound ZerosLike
"""
_NETWORKS = """
    AvgPool AvgPool3D AvgPoolGrad BiasAddGrad Conv Conv2D Conv2DBackpropFilter Conv2DBackpropInput
    Conv3D Conv3DBackpropInputV2 DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dilation2D Elu EluGrad
    FusedBatchNorm FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3 InvGrad LRN LRNGrad
    LeakyRelu LeakyReluGrad LogSoftmax MaxPool MaxPool3D MaxPoolGrad MaxPoolV2 MaxPoolWithArgmax
    ReciprocalGrad Relu Relu6 Relu6Grad ReluGrad RsqrtGrad Selu SeluGrad SigmoidGrad Softmax
    SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad Softsign SoftsignGrad
    SparseSoftmaxCrossEntropyWithLogits SqrtGrad TanhGrad BroadcastGradientArgs
    CombinedNonMaxSuppression NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Dequantize
    QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2
"""
_IMAGES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeAndCropJpeg DecodeBase64
    DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePaddedRaw DecodePng DecodeRaw DecodeWebP
    EncodeBase64 EncodeJpeg EncodePng ExtractJpegShape HSVToRGB ImageProjectiveTransformV2
    ImageProjectiveTransformV3 RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate
"""
_TEXT = """
    AsString ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace
    StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2
    StringStrip StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Substr
    UnicodeDecode UnicodeTranscode
"""
_CONTROL = """
    Assert Case If NoOp PartitionedCall Placeholder PlaceholderWithDefault StatefulPartitionedCall
    StatelessCase StatelessIf StatelessWhile While CheckNumerics EmptyTensorList
    TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
    TensorListResize TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""
# Tables without a file: their keys and values are in the graph.
_VARIABLES = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead
    HashTableV2 LookupTableFindV2 LookupTableImportV2 LookupTableSizeV2 ReadVariableOp
    ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
"""
# A failed item of a batch is left out by tf.data; their elements are tensors.
_DATASETS = """
    BatchDatasetV2 ConcatenateDataset DatasetToSingleElement IgnoreErrorsDataset
    MapDataset ParallelInterleaveDatasetV4 ParallelMapDatasetV2 TakeDataset
    TensorDataset TensorSliceDataset
"""

ALLOWED_OPS = frozenset(
    " ".join(
        [
            *(_ARITHMETIC, _REDUCTIONS, _LINEAR_ALGEBRA, _SHAPES, _NETWORKS, _IMAGES, _TEXT),
            *(_CONTROL, _VARIABLES, _DATASETS),
        ]
    ).split()
)
"""Names of operations, as in ``NodeDef.op``."""

CHECKPOINT_OPS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})
"""These write and read files. Allowed only in the functions that save and restore the variables."""
