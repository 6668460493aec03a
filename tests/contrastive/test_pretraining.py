"""Pretraining: losses fall, runs are reproducible, and an interrupted run ends bit for bit as an uninterrupted one."""

import shutil
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns

from cgir.analysis.graph_properties import properties
from cgir.analysis.laplacian_spectrum import spectrum
from cgir.cli.main import main
from cgir.cli.pretrain import CONTRASTS as COMMAND_CONTRASTS
from cgir.cli.pretrain import RECIPES
from cgir.errors import CgirError, FileFormatError
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from contrastive import PretrainConfig, pretrain, pretraining
from contrastive.config import CONTRASTS, WEIGHTS
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import as_pool
from encoders import Encoder, EncoderConfig, load_encoder
from encoders.metrics import spearman
from encoders.models.checkpoints import read_tensors, write_tensors
from encoders.predictors.pretrained import card
from frontends import spaces

FORMAT_1 = Path(__file__).parents[1] / "data" / "format_1"

SMALL = EncoderConfig(width=16, layers=2, dropout=0.1)
CONFIG = PretrainConfig.paper(steps=6, batch=16, projection=8, encoder=SMALL, property_weight=0.5, mask_weight=0.5)
GRAPHS = random_cnns(40) + random_cnns(20, seed=1, channels=(32,))
FAMILIES = ["a"] * 40 + ["b"] * 20


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def run(config=CONFIG, graphs=GRAPHS, families=FAMILIES, **options):
    return pretrain(graphs, config, families, progress=False, **options)


@pytest.mark.parametrize(
    "options",
    [*({"contrast": name} for name in CONTRASTS), {"contrast_weight": 0, "path_weight": 1}, {"mask_weight": 1}],
)
def test_every_loss_trains_and_repeats_itself(options):
    config = PretrainConfig.paper(steps=3, batch=16, projection=8, encoder=SMALL, **options)
    encoder = run(config)
    assert not encoder.training
    assert equal(encoder, run(config))
    assert not equal(encoder, Encoder(SMALL, seed=config.seed))


class Interrupted(Exception):
    pass


def test_an_interrupted_run_ends_at_the_same_bits(tmp_path, monkeypatch):
    straight = run()
    advance = PretrainingRun.advance

    def stop_at_five(self):
        if self.step == 5:
            raise Interrupted
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingRun, "advance", stop_at_five)
        with pytest.raises(Interrupted):
            run(run_dir=tmp_path, checkpoint_every=2)  # the state of step 4 is the last one kept
    assert not (tmp_path / "encoder.safetensors").exists()
    steps = []

    def count(self):
        steps.append(self.step)
        return advance(self)

    monkeypatch.setattr(PretrainingRun, "advance", count)
    resumed = run(run_dir=tmp_path, checkpoint_every=2)
    assert steps == [4, 5]
    assert equal(resumed, straight)
    assert equal(load_encoder(tmp_path / "encoder.safetensors"), straight)
    assert equal(run(run_dir=tmp_path), straight)  # finished: nothing is trained again
    assert steps == [4, 5]


def test_a_run_goes_on_with_more_steps(tmp_path, monkeypatch):
    """Steps behind those of the first call have the learning rates of the new number."""
    run(replace(CONFIG, steps=4), run_dir=tmp_path)
    rates = []
    advance = PretrainingRun.advance

    def note(self):
        loss = advance(self)
        rates.append(self.optimizer.param_groups[0]["lr"])
        return loss

    monkeypatch.setattr(PretrainingRun, "advance", note)
    run(run_dir=tmp_path)
    again, _ = rates[:], rates.clear()
    run()
    assert again == rates[4:]
    assert not equal(run(run_dir=tmp_path), run())  # the first steps had others


def test_the_state_is_saved_by_time_too(tmp_path, monkeypatch):
    saved = []
    save = PretrainingRun.save
    monkeypatch.setattr(PretrainingRun, "save", lambda self, path: [saved.append(self.step), save(self, path)])
    clock = iter(range(0, 10**6, 25))  # seconds; a step looks once, a checkpoint three times
    monkeypatch.setattr(pretraining, "monotonic", lambda: next(clock))
    run(run_dir=tmp_path)
    assert saved == [3, 6]


def test_a_run_saved_in_format_1_resumes(tmp_path):
    """Its state after 2 of 4 steps: tensors get the names of format 2, and the run ends as an uninterrupted one does.

    Spectra are given, as the run knows its graphs by their bits.
    """
    space = spaces.get("nasbench_macro", stages=(2, 2), channels=4, head=8)
    graphs = [space.graph(spec) for spec in islice(space.enumerate(), 12)]
    shape = EncoderConfig(width=4, layers=1)
    config = PretrainConfig.paper(property_weight=0.5, mask_weight=0.5, steps=4, batch=8, projection=2, encoder=shape)
    options = {"spectra": np.arange(36.0).reshape(12, 3), "progress": False}
    shutil.copy(FORMAT_1 / "pretraining" / "state.safetensors", tmp_path)
    resumed = pretrain(graphs, config, run_dir=tmp_path, **options)
    expected = pretrain(graphs, config, **options)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_run_folder_belongs_to_one_run(tmp_path):
    run(run_dir=tmp_path)
    for options, message in (
        ({"config": replace(CONFIG, lr=0.5)}, "lr 0.001 there, 0.5 now"),
        ({"config": replace(CONFIG, steps=5)}, "has done 6 steps already, more than 5"),
        ({"graphs": GRAPHS[::-1]}, "fingerprint"),
        ({"families": ["a"] * 60}, "fingerprint"),
    ):
        with pytest.raises(CgirError, match=message) as error:
            run(run_dir=tmp_path, **options)
        assert "\n" not in str(error.value)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.raises(FileFormatError, match="damaged"):
        run(run_dir=tmp_path)


def test_a_state_with_other_heads_is_refused(tmp_path):
    """Heads once read sums over nodes as they are."""
    config = replace(CONFIG, encoder=replace(SMALL, pool="mixed"))
    run(config, run_dir=tmp_path)
    tensors, meta = read_tensors(state := tmp_path / "state.safetensors", "pretraining")
    write_tensors(state, "pretraining", tensors, {key: value for key, value in meta.items() if key != "heads"})
    with pytest.raises(CgirError, match=r"another run \(heads: inputs 'as they are' there, 'signed log' now\)"):
        run(config, run_dir=tmp_path)


def test_the_default_is_the_recipe_of_the_shipped_encoder():
    made_with = card("universal")["pretraining"]
    assert asdict(PretrainConfig()) == {"autocast": False, "held_out": 0.0} | made_with


def test_heads_start_at_the_scale_of_their_targets():
    """Embeddings that sum over a hundred nodes reach hundreds; targets are standardised."""
    space, rng = spaces.get("ofa_mbv3"), np.random.default_rng(0)
    training = PretrainingRun(as_pool([space.graph(space.sample(rng)) for _ in range(20)]), PretrainConfig(batch=20))
    training.advance()
    assert max(training.losses[name] for name in ("contrast", "property", "path")) < 4
    assert np.abs(training.objective.encoder.embed(training.pool.batch, progress=False)).max() > 50


def test_five_graphs_are_a_pool(caplog):
    with caplog.at_level("WARNING"):
        training = PretrainingRun(as_pool(GRAPHS[:5]), PretrainConfig(encoder=SMALL, projection=8))
    assert caplog.messages == ["pretrain: 5 graphs are few, so that a batch has 10 and not 256"]
    losses = [training.advance() for _ in range(20)]
    assert np.mean(losses[-5:]) < losses[0]


def test_a_callback_sees_every_step():
    seen = {}
    config = replace(CONFIG, contrast_weight=2.0)
    encoder = run(config, callback=lambda step, losses: seen.update({step: losses}))
    assert list(seen) == [1, 2, 3, 4, 5, 6]
    assert [list(losses) for losses in seen.values()] == [["loss", "contrast", "property", "mask"]] * 6
    for losses in seen.values():
        weighted = 2 * losses["contrast"] + 0.5 * losses["property"] + 0.5 * losses["mask"]
        assert losses["loss"] == pytest.approx(weighted, rel=1e-5)
    assert equal(encoder, run(config))


def test_an_error_of_a_callback_ends_the_run_in_order(tmp_path):
    def full(step, losses):
        if step == 3:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(run_dir=tmp_path, callback=full)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    assert read_tensors(tmp_path / "state.safetensors", "pretraining")[1]["step"] == 3
    assert equal(run(run_dir=tmp_path), run())
    with pytest.raises(ZeroDivisionError):
        run(callback=lambda step, losses: 1 / 0)


def test_similarity_of_embeddings_comes_to_follow_spectral_distance():
    spectra = spectrum(GRAPHS[:40])
    pairs = np.triu_indices(40, 1)
    distance = np.linalg.norm(spectra[:, None] - spectra, axis=2)[pairs]

    def follows(encoder):
        v = encoder.embed(GRAPHS[:40])
        v = v - v.mean(axis=0)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        return spearman((v @ v.T)[pairs], -distance)

    config = PretrainConfig.paper(steps=150, batch=32, projection=16, encoder=EncoderConfig(width=16, layers=3))
    before, after = follows(Encoder(config.encoder, seed=0)), follows(pretrain(GRAPHS[:40], config, progress=False))
    assert after > before + 0.1


def test_property_regression_predicts_standardised_properties():
    """A constant prediction has their variance, 1, as loss; a learned one less; targets are graph properties."""
    shape = EncoderConfig(width=16, layers=3)
    config = PretrainConfig.paper(
        steps=200, batch=32, lr=3e-3, projection=16, contrast_weight=0.0, property_weight=1.0, encoder=shape
    )
    training = PretrainingRun(as_pool(GRAPHS), config)
    losses = [training.advance() for _ in range(config.steps)]
    targets = training.objective.terms["property"].targets
    varying = targets.std(0) > 0
    values = properties(GRAPHS)[:, varying.numpy()]
    np.testing.assert_allclose(targets[:, varying], (values - values.mean(0)) / values.std(0), atol=1e-4)
    silent = PretrainingRun(as_pool(GRAPHS), config)
    for parameter in silent.objective.terms["property"].head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    # a batch's variance, not the pool's
    assert silent.advance() == pytest.approx(varying.float().mean().item(), rel=0.3)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_batches_lists_and_stores_are_the_same_to_it(tmp_path):
    expected = run()
    assert equal(run(graphs=GraphBatch.from_graphs(GRAPHS)), expected)
    assert equal(run(spectra=spectrum(GRAPHS)), expected)
    GraphStore.write(tmp_path / "s.parquet", GRAPHS, family=FAMILIES)
    store = GraphStore.open(tmp_path / "s.parquet")
    assert equal(pretrain(store, CONFIG, progress=False), expected)
    assert (expected.embed(store) == expected.embed(GRAPHS)).all()


def test_the_command_line_has_every_contrast_and_weight(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    text = capsys.readouterr().out
    assert f"{{{','.join(COMMAND_CONTRASTS)}}}" in text
    assert set(COMMAND_CONTRASTS) == set(CONTRASTS)
    in_stores = set(WEIGHTS) - {"behaviour_weight"}
    assert all(f"--{name.replace('_', '-')}" in text for name in in_stores)


def test_the_command_line_shows_the_defaults_of_both_recipes():
    both = PretrainConfig(), PretrainConfig.paper()
    assert {name: tuple(getattr(recipe, name) for recipe in both) for name in RECIPES} == RECIPES


def test_bad_input_is_named():
    with pytest.raises(CgirError, match="60 family names"):
        run(families=["a"] * 5)
    with pytest.raises(CgirError, match="spectra"):
        run(spectra=np.full((60, 11), np.nan))
    wrong = (
        {"contrast": "cosine"},
        {"sign": 0},
        {"steps": 0},
        {"temperature": 0},
        {"lr": float("inf")},
        {"weight_decay": -1},
        {"held_out": 0.6},
        {"projection": 500},
        {"contrast_weight": 0},
    )
    for options in (*wrong, *({weight: value} for weight in WEIGHTS for value in (-1.0, float("nan"), float("inf")))):
        with pytest.raises(CgirError, match="pretrain") as error:
            PretrainConfig.paper(**options)
        assert "\n" not in str(error.value)
