"""Names of PyTorch functions by what a call means for a trace, and the names that ATen gives to public functions."""

from __future__ import annotations

# properties of the tensor itself: no call to record
QUERIES = frozenset(
    [
        "shape",
        "dtype",
        "ndim",
        "dim",
        "size",
        "numel",
        "nelement",
        "stride",
        "storage_offset",
        "is_contiguous",
        "element_size",
        "itemsize",
        "nbytes",
        "requires_grad",
        "layout",
        "is_floating_point",
        "is_complex",
        "is_sparse",
        "is_quantized",
        "is_nested",
        "names",
        "is_leaf",
        "grad",
        "grad_fn",
        "_version",
        "is_inference",
        "__hash__",
        "__len__",
        "_is_view",
        "is_sparse_csr",
        "is_signed",
        "is_conj",
        "is_neg",
        "untyped_storage",
        "result_type",
        "is_same_size",
        "__repr__",
        "__format__",
        "broadcast_shapes",
        "dim_order",
        "retain_grad",
        "requires_grad_",
        "register_hook",
    ]
)
# where the tensor is
DEVICE_QUERIES = frozenset(["device", "get_device", "is_cpu", "is_cuda", "is_meta", "is_mps", "is_xpu"])
# their result depends on values, or has a size that does
VALUE_READERS = frozenset(
    [
        "item",
        "_local_scalar_dense",
        "tolist",
        "numpy",
        "nonzero",
        "argwhere",
        "unique",
        "unique_consecutive",
        "masked_select",
        "equal",
        "allclose",
        "is_nonzero",
        "bincount",
        "__bool__",
        "__float__",
        "__int__",
        "__index__",
        "__complex__",
        "__contains__",
        "__array__",
        "_pack_padded_sequence",
    ]
)
# they create tensors whose contents depend on no other, but for its size, or but for what `filled_tensors` looks for
FACTORIES = frozenset(
    [
        "zeros",
        "ones",
        "full",
        "empty",
        "rand",
        "randn",
        "randint",
        "randperm",
        "arange",
        "linspace",
        "logspace",
        "eye",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "randint_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_tensor",
        "new_empty_strided",
        "new",
        "tensor",
        "scalar_tensor",
        "tril_indices",
        "triu_indices",
        "fill",
        "hann_window",
        "hamming_window",
        "blackman_window",
        "bernoulli",
        "multinomial",
        "normal",
        "normal_functional",
        "random",
        "poisson",
        "binomial",
        "_standard_gamma",
        "_sample_dirichlet",
        "uniform",
        "exponential",
        "empty_strided",
        "empty_permuted",
        "range",
        "zero",
        "cauchy",
        "geometric",
        "log_normal",
    ]
)
# they overwrite a tensor with values that depend on no other
FILLS = frozenset(
    [
        "zero_",
        "fill_",
        "normal_",
        "uniform_",
        "bernoulli_",
        "random_",
        "exponential_",
        "cauchy_",
        "geometric_",
        "log_normal_",
        "constant_",
        "kaiming_uniform_",
    ]
)
_COPIES = (
    "view permute transpose expand slice select squeeze unsqueeze split split_with_sizes unbind t diagonal unfold "
    "as_strided detach alias"
)
# public function -> what ATen calls it inside PyTorch and after decomposition
_ALIASES = {
    "batch_norm": (
        "_native_batch_norm_legit_no_training _native_batch_norm_legit _native_batch_norm_legit_functional "
        "native_batch_norm _batch_norm_with_update _batch_norm_with_update_functional _batch_norm_no_update "
        "cudnn_batch_norm"
    ),
    "scaled_dot_product_attention": (
        "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math "
        "_scaled_dot_product_attention_math_for_mps"
    ),
    "layer_norm": "native_layer_norm",
    "rms_norm": "_fused_rms_norm",
    "softmax": "_softmax _safe_softmax",
    "logsigmoid": "log_sigmoid_forward",
    "bitwise_left_shift": "lshift ilshift",
    "bitwise_right_shift": "rshift irshift",
    "conj": "_conj",
    "conj_physical": "_conj_physical",
    "fft_fft": "_fft_c2c _fft_r2c _fft_c2r",
    "log_softmax": "_log_softmax",
    "convolution": "_convolution",
    "cdist": "_cdist_forward _euclidean_dist",
    "adaptive_avg_pool2d": "_adaptive_avg_pool2d",
    "adaptive_avg_pool3d": "_adaptive_avg_pool3d",
    "embedding_bag": "_embedding_bag _embedding_bag_forward_only",
    "view": "_unsafe_view _reshape_alias",
    "reshape": "_reshape_copy",
    "to": "_to_copy",
    "index": "_unsafe_index _unsafe_masked_index",
    "index_put": "_unsafe_index_put _index_put_impl",
    "grid_sample": "grid_sampler grid_sampler_2d grid_sampler_3d",
    "affine_grid": "affine_grid_generator",
    "dropout": "feature_dropout",
    "upsample_bilinear2d": "_upsample_bilinear2d_aa",
    "upsample_bicubic2d": "_upsample_bicubic2d_aa",
    "upsample_nearest_exact1d": "_upsample_nearest_exact1d",
    "upsample_nearest_exact2d": "_upsample_nearest_exact2d",
    "upsample_nearest_exact3d": "_upsample_nearest_exact3d",
    "bilinear": "_trilinear",
    "pad": "reflection_pad1d _pad_circular",
}
ATEN_ALIASES = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
ATEN_ALIASES |= {f"{name}_copy": name for name in _COPIES.split()}
