"""`python -m tests.models --shape qwen3-30b-a3b --layers 12 --out model.gguf`: write a synthetic model."""

import argparse
import sys
from pathlib import Path

from tests.models.shapes import QUANTS, SHAPES
from tests.models.writer import write_synthetic_model


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.models", description=__doc__)
    parser.add_argument("--shape", required=True, choices=list(SHAPES))
    parser.add_argument("--layers", type=int, help="cut the model to this many layers")
    parser.add_argument("--out", required=True, type=Path, help="the GGUF file to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quant", choices=QUANTS, default="mixed")
    arguments = parser.parse_args()
    try:
        size_bytes = write_synthetic_model(
            arguments.shape,
            arguments.out,
            layers=arguments.layers,
            seed=arguments.seed,
            quant=arguments.quant,
            progress=True,
        )
    except (OSError, ValueError) as error:
        print(f"no model was written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the unfinished file was removed", file=sys.stderr)
        return 130
    print(f"{arguments.out}: {size_bytes / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
