"""The sentences of findings: one template per `Facts` class, in the module named as its detector's."""
