"""The commands of the deploy half, one module a verb: `monopod deploy` is deploy_command in conf.commands.deploy_command.

In: the arguments that monopod.py has parsed. Out: text or JSON, and an exit status.
"""
