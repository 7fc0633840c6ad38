"""`python -m attachtrans.cli`."""

from attachtrans.cli import main

main()
