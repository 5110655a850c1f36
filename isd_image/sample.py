"""`python -m isd_image.sample`: images from a checkpoint."""

from isd_image.commands import sample as main

if __name__ == "__main__":
    main()
