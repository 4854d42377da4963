"""The laws that every strategy keeps, for strategies of your own: `check_strategy`, or pytest.

    pytest --pyargs coldstart_cli.testing --strategy my/strategy.yaml --override 'trust=[my_package]'

Only `plugin` and `test_strategy`, which pytest itself loads, import pytest.
"""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(__name__, {"checking": "check_strategy", "trial": "Trial"})
