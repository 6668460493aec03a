"""Label tables: architectures of a search space with their metrics after training.

`load("nasbench201")["cifar10_test_200ep_mean"]` is a metric of all its cells. The published tables are read from a
folder (`path=`, else the environment variable CGIR_DATA) that holds the files named below; they were measured by the
benchmarks' authors and by the people named, and are not part of this project. `cgir tables import` makes such a
table from a benchmark's official files; `load("table.parquet")` opens it. Caveats:

* nasbench201.csv.gz: all 15,625 cells (Dong & Yang 2020). Accuracies in percent. Only `cifar10_test_200ep_mean` is a
  mean over the available seeds; the other 200-epoch columns are one seed, `cifar10valid_oritest` trained on half the
  training set, and which half of the held-out images `cifar100_heldout5k` and `imagenet16_120_heldout3k` used is not
  known. 12-epoch columns are never final accuracies. 5,425 canonical graphs are distinct: print scores also without
  cells isomorphic to a training cell.
* nasbench101.csv.gz: 20,001 cells, a uniform random 4.7 % (Ying et al. 2019). CIFAR-10 *validation* accuracy (no test
  accuracy), fractions, one run, after 4/12/36/108 epochs. The order of vertices is such that the channel split gives
  `trainable_parameters`.
* nasbench101_ecnas.csv.gz: 3,624 trainings of the same cells by others (Bakhtiarifard et al. 2022, EC-NAS): fractions,
  validation and test, energy. A row is a cell, a number of `epochs` and a `repeat`, not a cell: all 91 cells of at most
  4 vertices (4/12/36/108 epochs, 3 repeats) and one run of 4 epochs of the 2,532 of at most 5. Take `only(epochs=...,
  repeat=...)`; never rank rows of different epochs.
* nasbench_macro_cifar10.csv.gz: all 6,561 networks (Su et al. 2021), CIFAR-10 test accuracy in percent, 3 seeds and
  their mean.
* darts_cifar10.csv.gz: 300 cells (OnceNAS-Bench), CIFAR-10 in percent after 10 and 50 epochs, one run: short schedules.
  "valid" and "test" are the same images; no third set is left to choose on.
* ofa_mbv3_imagenet.csv.gz: 2,491 subnets of the Once-for-All supernet (Cai et al. 2020), weights inherited, BatchNorm
  recalibrated, not trained on their own. Rows of the `source` DyNAS-T:* (224 pixels, 50,000 images) are traces of
  searches, hence mostly good networks; MOOFA rows have 128 to 192 pixels and 12,500 images. Stay within one source and
  resolution, or give the resolution as a feature.
* transnas101_micro.csv.gz, transnas101_macro.csv.gz: 4,096 and 3,256 networks (Duan et al. 2021), validation metric of
  7 tasks in each task's own unit; `room_layout` is a negative loss, so higher is better everywhere. One run. The output
  of 169 micro cells does not depend on the input: they share one label on each of the classification tasks, jigsaw and
  segmentation, and 3 on `room_layout`; on `normal` and `autoencoder` they have 56 different ones. The table's space is
  the one of `class_object`: give `spaces.get` another task for its decoder.
* nasbench_nlp.jsonl.gz: 14,322 recurrent cells (Klyuchnikov et al. 2020) on Penn Treebank, losses (lower is better),
  one run. 2,724 were aborted (`text_columns["status"]` is not "OK"): their last losses are no labels;
  `val_loss_{3,10,25,50}ep` are given for the others.
* more/graphgym_design_space.csv.gz: 7,732 trainings (You et al. 2020), validation accuracies as fractions. Rows of
  `space` "v2" are 96 networks with one recipe on each of 32 tasks (`dataset`, `task`, `feature`, `label`): take
  `only(space="v2", dataset="Cora")`, and of "scalefree" and "smallworld" a task by all four. "v2link" are the same on
  11 tasks of links. "v1" are random designs of which one choice, `varied`, was changed, with recipes of their own; in
  "v1att" it was the kind of layer, which is not known. Never rank rows of different tasks. The table's space is the one
  of Cora; `TASKS` of `frontends.spaces.graph_networks.graphgym_spec` has the sizes of the others. `dim_inner` is listed
  for "v2" and "v2link", but of links, "scalefree" and "smallworld" it is not the width that `params` tells.
* more/nasbench_graph.csv.gz: all 26,206 networks (Qin et al. 2022) on seven graph data sets, accuracies in percent,
  mean of three runs, latency in seconds. The table's space is the one of Cora: give `spaces.get` another `data` for the
  network of another data set. 1,567 values of `physics_params_M` are not those of the network.
* timm_imagenet.csv.gz: 633 models of timm (Wightman), ImageNet and its variants in percent. No search space: recipes,
  training data, distillation and image sizes differ (`text_columns["tag"]` has what the name tells of them;
  `text_columns["pretrain"]` is empty as published), so a difference of two labels is not one of two architectures.
* more/nasbench201_latency.csv.gz, more/ofa_mbv3_latency.csv.gz: milliseconds on 27 and 12 device settings (Lee et al.
  2021, HELP): all NAS-Bench-201 cells, 5,000 subnets of the Once-for-All supernet at 128 to 224 pixels. The number
  behind a GPU is its batch size. A few measurements failed: `lat_pixel3` and `lat_raspi4` go down to microseconds, so
  rank or clip before a logarithm. Phones and the simulated Eyeriss and FPGA know a few dozen different values only.
* more/timm_latency.csv.gz: 1,807 models of timm at their sizes, milliseconds *an image* in 18 settings of inference and
  training at the largest batch that fits (`bs_...` beside each): not a latency of one image, but for the two CPUs.
* more/openlm_gpt_loss.csv.gz: 435 runs of 130 shapes of language models (Gadre et al. 2024), 20 tokens a parameter;
  validation loss, lower is better. Runs of one shape differ in `warmup` and `batch`: rank shapes by their best run.
  `params_computed` takes the attention to be as wide as the network, which is not so for d=488 and h=12 (17 runs), as a
  twentieth of `tokens` shows, which are the parameters of the graphs. The columns of other losses are empty.
* more/naap440_cifar10.csv.gz: all 440 networks of NAAP-440 (Hakim 2022), CIFAR-10 test accuracy in percent at 3, 9, 30
  and 90 epochs and the best of 90; one recipe, one run. `is_test` is the author's split.
* more/metaqnn_cifar10.csv.gz: 1,000 networks of MetaQNN (Baker et al. 2018), CIFAR-10 validation accuracy in percent at
  1, 5, 10 and 20 epochs, one run. `lr` differs, as the authors lowered it where a network did not learn.
  `params_listed` is no count of parameters: it leaves out biases, takes the softmax for a layer like the one before it,
  and sizes of images that training did not have.
* more/resnet_tinyimagenet32.csv.gz: 684 trainings of 615 ResNets (Baker et al. 2018), TinyImageNet at 32 x 32 pixels,
  validation accuracy in percent, 140 epochs, one run. Stay within one `lr_step`, the iterations after which the
  learning rate falls: 652 rows have 35,000.
* more/face_landmarks_mbv2.csv.gz: 224 networks that archai's evolution visited (Microsoft 2023), so mostly good ones:
  validation error of facial landmarks after 30 epochs on a tenth of the images (`val_error_30ep_tenth`), of 7 networks
  after all (`val_error_full`), and milliseconds of one image in ONNX Runtime on one CPU thread; lower is better.
* more/lstm_ptb.csv.gz: all 280 LSTM language models of Baker et al. (2018), validation perplexity of Penn Treebank
  after 60 epochs, lower is better, one run each; the smallest hardly learned.
* more/paddleclas_imagenet.csv.gz, more/mmpretrain_models.csv.gz: ImageNet top-1 of two zoos' models, in percent. Their
  148 and 326 rows of models that timm builds under another name (131 and 195 networks) are kept, with timm's name and
  `img_size`; `text_columns["model"]` is the zoo's name. Recipes differ, as those of timm; PaddleClas marks its
  distilled models, and many of MMPretrain's weights are those of timm or of the authors.
* more/lemur_fixed_recipe.csv.gz: 5,628 trainings of 1,772 networks of LEMUR (ABrain-One), most of them FractalNets,
  CIFAR-10 in percent. Rows of equal `family`, `epochs`, `transform` and `batch` share one recipe; compare inside such a
  cohort only. The 1,649 FractalNets are some 60 different programs with some 30 different graphs, each trained again
  and again: take the mean of equal graphs (accuracies of equal graphs differ by about 1.1). more/lemur_networks.csv.gz:
  12,632 pairs of a network and a data set, best of several trials whose recipes differ. Networks are names of files in
  a wheel of PyPI; `frontends.tables.lemur` says how to get their graphs.

"digits" is the embedded set of this project, in the package, no folder needed: 3 families of 250 networks trained on
scikit-learn's 8x8 digits by `benchmarks/digits.py`. Few images and a short schedule, on purpose: longer training leaves
no differences to rank. Its networks are small versions of the spaces, so its accuracies do not carry over to CIFAR-10.
`Table.metadata` has the measured seed-to-seed rank agreement.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from cgir.errors import FileFormatError, LabelError
from cgir.store import GraphStore

from .parquet import FAMILY as FAMILY
from .parquet import SPEC as SPEC
from .parquet import read_table as read_table
from .parquet import write_table as write_table
from .published import PUBLISHED_TABLES as PUBLISHED_TABLES
from .published import read_published
from .table import Table as Table

NAMES = (*PUBLISHED_TABLES, "digits")


def load(
    name: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    graphs: str | os.PathLike[str] | None = None,
) -> Table:
    """A label table.

    Args:
        name: one of `NAMES`, or a Parquet file that `cgir tables import` wrote.
        path: the folder with the published tables, or one file in its format, or an imported .parquet file of that
            space; default $CGIR_DATA. "digits" is in the package: here another file.
        graphs: of tables whose networks have names, the store of their graphs (`Table.graph_names` are its spec
            strings), as `python -m frontends.tables.lemur` writes it.

    Raises:
        LabelError: no such table, its file cannot be found, or its graphs come from no store.
        FileFormatError: the file cannot be read, or lacks the columns with the architectures.
    """
    table = _load(os.fspath(name), path)
    if graphs is None:
        return table
    if not table.graph_names:
        raise LabelError(f"table {table.name!r}: builds its graphs itself; leave out graphs=")
    return replace(table, store=GraphStore.open(graphs))


def _load(name: str, path: str | os.PathLike[str] | None) -> Table:
    if name == "digits":
        return _digits(Path(path) if path is not None else Path(str(files("frontends") / "data" / "digits.parquet")))
    if name in PUBLISHED_TABLES and path is not None and os.fspath(path).endswith(".parquet"):
        return _imported(name, Path(path))
    if name in PUBLISHED_TABLES:
        return read_published(name, path)
    if name.endswith(".parquet"):
        return read_table(Path(name))
    raise LabelError(
        f"no label table is called {name!r}; there are {', '.join(NAMES)}, "
        "and files .parquet that `cgir tables import` wrote"
    )


def _imported(name: str, file: Path) -> Table:
    table = read_table(file, name)
    if table.space is None or table.space.name != PUBLISHED_TABLES[name].space:
        spaces_in_file = table.space.name if table.space else "several spaces"
        raise LabelError(
            f"{file} is a table of {spaces_in_file}, not of {PUBLISHED_TABLES[name].space or 'models of timm'}"
        )
    return table


def _digits(file: Path) -> Table:
    if not file.is_file():
        raise LabelError(f"{file} does not exist; build it with `python -m benchmarks.digits --out {file}`")
    table = read_table(file, "digits")
    if table.space is not None:
        raise FileFormatError(
            f"{file}: a table of one space; build the file of digits with `python -m benchmarks.digits`"
        )
    return table
