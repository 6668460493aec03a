"""`python -m contrastive.corpus OUT` writes the corpus."""

from .build import main

if __name__ == "__main__":
    main()
