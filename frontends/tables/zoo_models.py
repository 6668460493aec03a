"""Models of other zoos that timm builds under another name, at the image size of the zoo.

A counterpart is the same network: its parameters agree within 1 % with what the zoo lists, and so do its operations
where the zoo lists them. PaddleClas counts the statistics of batch normalisation as parameters, MMPretrain does not.
Where a zoo's list contradicts its own model (some numbers are misprints), or its model differs from timm's (RepVGG
after fusion, LeViT without the second head), there is none.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np

from .named_networks import timm_names
from .table import Table
from .timm_models import graphs

log = logging.getLogger(__name__)

EFFICIENTNET_PIXELS = (224, 240, 260, 300, 380, 456, 528, 600, 672)
# What a zoo's name matches, the name in timm, and the image size; {0} is the first group of the pattern, and px the
# number of pixels in the zoo's name, or else 224. The first that matches counts.
Rule = tuple[str, str, str]
PADDLECLAS: tuple[Rule, ...] = (
    (r"ResNet(18|34|50|101|152)", "resnet{0}", "224"),
    (r"ResNet50_vc", "resnet50c", "224"),
    (r"ResNet(18|34|50|101|152)_vd", "resnet{0}d", "224"),
    (r"ResNeXt(50_32x4d|101_32x4d|101_64x4d)", "resnext{0}", "224"),
    (r"ResNeXt50_vd_32x4d", "resnext50d_32x4d", "224"),
    (r"ResNeXt101_(32x8d|32x16d|32x32d)_wsl", "resnext101_{0}", "224"),
    (r"Res2Net50_(26w_4s|14w_8s)", "res2net50_{0}", "224"),
    (r"Res2Net(50|101)_vd_26w_4s", "res2net{0}d", "224"),
    (r"SE_ResNeXt(50|101)_32x4d", "seresnext{0}_32x4d", "224"),
    (r"DPN(68|92|98|107|131)", "dpn{0}", "224"),
    (r"DenseNet(121|161|169|201)", "densenet{0}", "224"),
    (r"HRNet_W(\d+)_C", "hrnet_w{0}", "224"),
    (r"Xception(41|65)_deeplab", "xception{0}", "299"),
    (r"InceptionV([34])", "inception_v{0}", "299"),
    (r"EfficientNetB(\d)", "tf_efficientnet_b{0}", "efficientnet"),
    (r"ResNeSt50", "resnest50d", "224"),
    (r"RegNetX_4GF", "regnetx_040", "224"),
    (r"MixNet_([SML])", "mixnet_{0}", "224"),
    (r"ReXNet_(\d)_(\d)", "rexnet_{0}{1}0", "224"),
    (r"DLA(\w+)", "dla{0}", "224"),
    (r"ConvNeXt_tiny", "convnext_tiny", "224"),
    (r"CSPDarkNet53", "cspdarknet53", "224"),
    (r"DarkNet53", "darknet53", "256"),
    (r"VGG(\d+)", "vgg{0}", "224"),
    (r"MobileNetV1", "mobilenetv1_100", "224"),
    (r"MobileNetV2", "mobilenetv2_100", "224"),
    (r"MobileNetV2_x0_(5|75)", "mobilenetv2_0{0:0<2}", "224"),
    (r"MobileNetV3_large_x1_0", "mobilenetv3_large_100", "224"),
    (r"GhostNet_x(\d)_(\d)", "ghostnet_{0}{1}0", "224"),
    (r"PPLCNet_x(0|1)_(35|5|75|0)", "lcnet_{0}{1:0<2}", "224"),
    (r"PPHGNet_(tiny|small|base)", "hgnet_{0}", "224"),
    (r"ViT_(base|large)_(patch\d+)_(\d+)", "vit_{0}_{1}_{2}", "{2}"),
    (r"DeiT_(\w+)_(\d+)", "deit_{0}_{1}", "{1}"),
    (r"SwinTransformer_(\w+)_(\d+)", "swin_{0}_{1}", "{1}"),
    (r"pcpvt_(\w+)", "twins_pcpvt_{0}", "224"),
    (r"alt_gvt_(\w+)", "twins_svt_{0}", "224"),
    (r"PVT_V2_(B\d)", "pvt_v2_{0}", "224"),
    (r"PVT_V2_B2_Linear", "pvt_v2_b2_li", "224"),
    (r"TNT_small", "tnt_s_legacy_patch16_224", "224"),
    (r"MobileViT_(\w+)", "mobilevit_{0}", "256"),
)
MMPRETRAIN: tuple[Rule, ...] = (
    (r"resnet(18|50|101|152)", "resnet{0}", "224"),
    (r"resnetv1([cd])(50|101|152)", "resnet{1}{0}", "224"),
    (r"resnext(50-32x4d|101-32x4d|101-32x8d)", "resnext{0}", "224"),
    (r"res2net50-w(14|26)-s8", "res2net50_{0}w_8s", "224"),
    (r"res2net101-w26-s4", "res2net101_26w_4s", "224"),
    (r"seresnet(50|101)", "seresnet{0}", "224"),
    (r"wide-resnet(\d+)", "wide_resnet{0}_2", "224"),
    (r"cspdarknet50", "cspdarknet53", "224"),
    (r"cspres(net|next)50", "cspres{0}50", "224"),
    (r"densenet(\d+)", "densenet{0}", "224"),
    (r"hrnet-w(\d+)", "hrnet_w{0}", "224"),
    (r"vgg(\d+)", "vgg{0}", "224"),
    (r"vgg(\d+)bn", "vgg{0}_bn", "224"),
    (r"inception-v3", "inception_v3", "299"),
    (r"regnetx-(\d+)mf", "regnetx_00{0:.1}", "224"),
    (r"regnetx-([1468])\.(\d)gf", "regnetx_0{0}{1}", "224"),
    (r"regnetx-12gf", "regnetx_120", "224"),
    (r"convnext-(\w+)", "convnext_{0}", "px"),
    (r"convnext-v2-(\w+)", "convnextv2_{0}", "px"),
    (r"convnextv2-(\w+)", "convnextv2_{0}", "px"),
    (r"convmixer-(768-32|1536-20)", "convmixer_{0}", "224"),
    (r"convmixer-1024-20", "convmixer_1024_20_ks9_p14", "224"),
    (r"edgenext-(base|small)(?:-usi)?", "edgenext_{0}", "256"),
    (r"edgenext-(x+)small", "edgenext_{0}_small", "256"),
    (r"efficientformer-(l\d)", "efficientformer_{0}", "224"),
    (r"efficientnet-b(\d)", "tf_efficientnet_b{0}", "efficientnet"),
    (r"mobilenet-v2", "mobilenetv2_100", "224"),
    (r"mobilenet-v3-large", "mobilenetv3_large_100", "224"),
    (r"mobilenet-v3-small", "mobilenetv3_small_100", "224"),
    (r"mobilenet-v3-small-(\d+)", "mobilenetv3_small_{0}", "224"),
    (r"mobilevit-(x*)small", "mobilevit_{0}s", "256"),
    (r"poolformer-(\w+)", "poolformer_{0}", "224"),
    (r"davit-(\w+)", "davit_{0}", "224"),
    (r"deit-(tiny|small|base)", "deit_{0}_patch16_{px}", "px"),
    (r"deit-(tiny|small|base)-distilled", "deit_{0}_distilled_patch16_{px}", "px"),
    (r"deit3-(\w+)-p(\d+)", "deit3_{0}_patch{1}_{px}", "px"),
    (r"vit-base-p(16|32)_clip", "vit_base_patch{0}_clip_{px}.laion2b_ft_in12k_in1k", "px"),
    (r"vit-(base|large)-p(16|32)", "vit_{0}_patch{1}_{px}", "px"),
    (r"vit-small-p16", "vit_small_patch16_224", "224"),
    (r"beit-base-p16", "beit_base_patch16_224", "224"),
    (r"mlp-mixer-(\w)\w+-p16", "mixer_{0}16_224", "224"),
    (r"mvitv2-(\w+)", "mvitv2_{0}", "224"),
    (r"swin-(base|large)-384", "swin_{0}_patch4_window12_384", "384"),
    (r"swin-(tiny|small|base|large)", "swin_{0}_patch4_window7_224", "224"),
    (r"swinv2-(tiny|small|base)-w(8|16)", "swinv2_{0}_window{1}_256", "256"),
    (r"tinyvit-(\w+)", "tiny_vit_{0}_{px}.dist_in22k_ft_in1k", "px"),
    (r"tnt-small-p16", "tnt_s_legacy_patch16_224", "224"),
    (r"twins-(pcpvt|svt)-(\w+)", "twins_{0}_{1}", "224"),
    (r"xcit-(\w+)-(\d+)-(p\d+)", "xcit_{0}_{1}_{2}_{px}", "px"),
)
RULES = {"paddleclas": PADDLECLAS, "mmpretrain": MMPRETRAIN}
CONTRADICTORY = ("resnet50_spark-pre_300e_in1k",)  # its list leaves out the classifier


def counterpart(zoo: str, name: str) -> tuple[str, int] | None:
    """The name in timm and the image size (pixels a side) of a zoo's model; None if there is none."""
    if name in CONTRADICTORY:
        return None
    architecture, pixels = _read(zoo, name)
    for pattern, template, size in RULES[zoo]:
        if match := re.fullmatch(pattern, architecture):
            groups = match.groups()
            model = template.format(*groups, px=pixels).lower().replace("-", "_")
            if size == "efficientnet":
                return model, EFFICIENTNET_PIXELS[int(groups[0])]
            return model, pixels if size == "px" else int(size.format(*groups))
    return None


def _read(zoo: str, name: str) -> tuple[str, int]:
    """Architecture and image size that a name tells; its other parts tell of recipes."""
    if zoo == "paddleclas":
        return name.removesuffix("_ssld").removesuffix("[1]"), 224
    architecture, _, recipe = name.partition("_")
    size = re.search(r"-(\d{3})(?:px)?$", recipe)
    pixels = int(size[1]) if size else 224
    if "_clip-" in name:
        architecture += "_clip"
    if architecture.startswith("swin-") and pixels == 384:
        architecture += "-384"
    return architecture, pixels


def of_timm(table: Table) -> Table:
    """A zoo's table with the names of its models in timm as specs; the others are left out, and their number logged."""
    measured = np.isfinite(table["top1"])
    if table.name == "mmpretrain":
        measured &= np.asarray(table.text_columns["dataset"]) == "ImageNet-1k"
    table = table.select(measured)
    found = [counterpart(table.name, name) for name in table.spec_strings]
    rows = [row for row, pair in enumerate(found) if pair]
    log.info(
        "%s: %d of %d models have a counterpart in timm; the others are left out", table.name, len(rows), len(found)
    )
    chosen, pairs = table.select(rows), [pair for pair in found if pair]
    models, pixels = tuple(model for model, _ in pairs), np.asarray([size for _, size in pairs], np.float64)
    return replace(
        chosen,
        spec_strings=models,
        columns={**chosen.columns, "img_size": pixels},
        text_columns={**chosen.text_columns, "model": chosen.spec_strings},
        graph_names=timm_names(models, pixels),
        trace=graphs,
    )
