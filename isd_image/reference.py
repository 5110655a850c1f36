"""`python -m isd_image.reference`: statistics of real images, once, for every later evaluation."""

from isd_image.commands import reference as main

if __name__ == "__main__":
    main()
