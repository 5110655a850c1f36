"""`python -m isd_image.evaluate`: how far samples are from real images, with the protocol beside every number."""

from isd_image.commands import evaluate as main

if __name__ == "__main__":
    main()
