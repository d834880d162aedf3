"""The command `consumer`, also as `python -m consumer`."""

import os
import sys

if __name__ == "__main__":  # before anything else is imported: `python -m` searches the working directory first
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    import rabbitmq_classifier

    rabbitmq_classifier.search_user_folders_last()


from consumer.cli.main import main

if __name__ == "__main__":
    main()
