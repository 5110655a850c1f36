"""`python -m isd_policy.run`: a policy in a control loop, against the wall clock or with a simulated latency."""

from isd_policy.commands import run as main

if __name__ == "__main__":
    main()
