"""`python -m isd_image.convert`: a released iSD checkpoint as a run of this package, to sample from and to continue."""

from isd_image.commands import convert as main

if __name__ == "__main__":
    main()
