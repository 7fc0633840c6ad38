"""The operators that a net from a file may use: those that compute tensors, and nothing else.

TorchScript files and exported programs bring a program of PyTorch operators. Most of PyTorch's
two thousand compute; some read and write files (`aten::from_file`, `aten::save`), replace the
memory behind a tensor (`set_`, `resize_`, `as_strided`, `_reshape_alias`), call other backends or
start threads. A program is run only if every operator of it is listed here. Left out on purpose,
besides those: recurrent nets and losses (no image net needs them, and some check their inputs
poorly), sparse, quantised and nested tensors, and all that prints.

Names are those of PyTorch's operator schemas without "aten::" and without overload; the tests hold
the list against the schemas of the installed PyTorch: arguments and results are tensors, numbers,
and their containers; text only where an operator takes a mode by name.
"""

from __future__ import annotations

_POINTWISE = """
    abs absolute acos acosh add addcdiv addcmul angle arccos arcsin arctan arctan2 asin asinh atan
    atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp clamp_max clamp_min clip
    conj conj_physical copysign cos cosh deg2rad digamma div divide eq erf erfc erfinv exp exp2
    expm1 fix float_power floor floor_divide fmax fmin fmod frac ge gelu greater greater_equal
    gt heaviside hypot imag isclose isfinite isinf isnan le lerp less less_equal lgamma log log10
    log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt
    masked_fill maximum minimum mul multiply nan_to_num ne neg negative not_equal polar positive pow
    rad2deg real reciprocal remainder resolve_conj resolve_neg round rsqrt rsub sgn sigmoid sign
    signbit sin sinc sinh special_erf special_expit special_log1p sqrt square sub subtract tan tanh
    threshold true_divide trunc where xlogy __and__ __or__ __xor__ __lshift__ __rshift__
"""
_ACTIVATIONS = """
    alpha_dropout celu dropout elu feature_alpha_dropout feature_dropout glu hardshrink hardsigmoid
    hardswish hardtanh leaky_relu log_sigmoid log_softmax mish native_dropout prelu relu relu6
    rrelu selu silu softmax softplus softshrink _log_softmax _softmax _prelu_kernel
"""
_LAYERS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d affine_grid_generator avg_pool1d avg_pool2d avg_pool3d
    batch_norm bilinear channel_shuffle col2im constant_pad_nd conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d convolution cosine_similarity embedding
    grid_sampler grid_sampler_2d group_norm im2col instance_norm layer_norm
    linear max_pool1d max_pool2d max_pool2d_with_indices max_pool3d max_unpool2d native_batch_norm
    native_channel_shuffle native_group_norm native_layer_norm pad pixel_shuffle pixel_unshuffle
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d rms_norm
    scaled_dot_product_attention upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d
    _adaptive_avg_pool2d _batch_norm_impl_index _convolution _convolution_mode
    _native_batch_norm_legit_no_training _native_multi_head_attention
    _transformer_encoder_layer_fwd _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    _upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _weight_norm
"""
_SHAPES = """
    adjoint alias atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cat
    chunk clone column_stack concat concatenate contiguous copy detach diag diag_embed diagonal
    dstack expand expand_as flatten flip fliplr flipud gather hsplit hstack index index_add
    index_copy index_fill index_put index_select lift_fresh lift_fresh_copy masked_scatter
    masked_select meshgrid moveaxis movedim narrow nonzero one_hot permute ravel repeat
    repeat_interleave reshape reshape_as roll rot90 scatter scatter_add scatter_reduce select
    select_scatter slice slice_scatter split split_with_sizes squeeze stack swapaxes swapdims t
    take take_along_dim tensor_split tile transpose unbind unflatten unfold unsafe_chunk
    unsafe_split unsqueeze view view_as view_as_complex view_as_real vsplit vstack
    _shape_as_tensor _unsafe_view
"""
_REDUCTIONS = """
    addbmm addmm addmv addr all allclose amax amin aminmax any argmax argmin argsort baddbmm bmm
    bucketize cdist chain_matmul count_nonzero cross cummax cummin cumprod cumsum det diff dist
    dot einsum equal fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_ifft fft_ifft2
    fft_ifftn fft_ifftshift fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq
    fft_rfftn frobenius_norm ger inner inverse kron kthvalue linalg_cross linalg_inv
    linalg_matmul linalg_matrix_norm linalg_norm linalg_vector_norm logsumexp matmul matrix_power
    max mean median min mm mv nanmean nansum norm outer prod quantile searchsorted sort std
    std_mean sum sum_to_size tensordot topk trace tril triu var var_mean vdot
"""
_FACTORIES = """
    arange bernoulli empty empty_like eye fill full full_like hann_window linspace logspace
    new_empty new_full new_ones new_zeros normal ones ones_like rand rand_like randint randn
    randn_like scalar_tensor tensor tril_indices triu_indices uniform zero zeros zeros_like
"""
_CONVERSIONS = """
    can_cast cpu cuda item result_type to to_dense type_as _cast_Double _cast_Float
    _cast_Half _cast_Int _cast_Long _to_copy
    Bool Complex Float FloatImplicit Int IntImplicit ScalarImplicit
"""
_QUESTIONS = """
    dim is_autocast_enabled is_complex is_contiguous is_floating_point is_grad_enabled is_nonzero
    is_same_size is_scripting is_signed numel size stride sym_numel sym_size sym_stride
    sym_constrain_range sym_constrain_range_for_size _assert_scalar _assert_tensor_metadata
"""
_CONTAINERS = """
    __contains__ __derive_index __getitem__ __is__ __isnot__ __not__ __range_length append copy
    device dict extend floordiv format get index insert items keys len list ord pop reverse sorted
    str values warn _set_item _unwrap_optional
"""
_GROUPS = (
    _POINTWISE,
    _ACTIVATIONS,
    _LAYERS,
    _SHAPES,
    _REDUCTIONS,
    _FACTORIES,
    _CONVERSIONS,
    _QUESTIONS,
    _CONTAINERS,
)
TENSOR_OPERATORS = frozenset(name for group in _GROUPS for name in group.split())
"""Names in the namespace aten; each also in its in-place form, with "_" behind it."""

_PRIMITIVES = """
    Constant CreateObject GetAttr SetAttr If Loop DictConstruct ListConstruct ListUnpack
    NumToTensor RaiseException TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized
    abs device dtype is_cpu is_cuda is_mps is_nested is_quantized is_sparse isinstance itemsize
    layout max min rangelist requires_grad type unchecked_cast unchecked_unwrap_optional
"""
PRIMITIVES = frozenset(_PRIMITIVES.split())
"""Names in the namespace prim: constants, containers, control flow, questions about tensors."""


def is_computation(namespace: str, name: str) -> bool:
    """Whether an operator, such as ("aten", "add_"), does nothing but compute."""
    if namespace == "prim":
        return name in PRIMITIVES
    in_place = name.endswith("_") and not name.endswith("__")
    return namespace == "aten" and (name[:-1] if in_place else name) in TENSOR_OPERATORS
