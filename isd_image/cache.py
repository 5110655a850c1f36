"""`python -m isd_image.cache`: encodes raw images once, for every later training."""

from isd_image.commands import cache as main

if __name__ == "__main__":
    main()
