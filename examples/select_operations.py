"""A supernet of NAS-Bench-201 on handwritten digits, and what four rules select from it.

python examples/select_operations.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.one_shot import load_images, select, supernet, train

RULES: dict[str, dict[str, Any]] = {
    "random": {},
    "argmax": {},
    "perturbation": {"criterion": "loss", "count": 256},
    "influential_magnitude": {"batches": 5},
}


def main(folder: Path = Path("runs/examples"), steps: int = 150, channels: int = 4) -> None:
    """Train once, select by every rule, draw what each selected, print the scores of the last.

    Args:
        folder: where the training and the drawings are kept; a second run goes on from there.
        steps: of the training, each one of the weights and one of the architecture.
        channels: of the first cells.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_images("digits")
    weights_images, valid = digits.split(seed=0)
    network = supernet("nasbench201", channels=channels, cells=1, image=digits.shape, classes=digits.classes)
    trained = train(network, weights_images, valid, steps=steps, path=folder / "supernet.safetensors", progress=False)
    last = [record["valid_accuracy"] for record in trained.history[-10:]]
    print(f"supernet after {steps} steps: accuracy {sum(last) / len(last):.2f} on the other half of the images")
    for rule, options in RULES.items():
        # `none` is left out: it has no weights, so that rules which look at weights say nothing of it
        found = select(trained, valid, rule, exclude=("none",), progress=False, **options)
        print(f"{rule:21}  {found.seconds:5.1f} s  {found.spec_string}")
        found.save(folder / f"selected_{rule}.svg")
    print(found.table())


if __name__ == "__main__":
    main()
