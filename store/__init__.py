"""What outlives the process: the rows of the actors, who owns which slot, and until when.

``base`` is the contract, ``rows`` the images that a commit writes; nothing here knows what an actor does with them.
``postgres`` keeps them for good; ``statements`` derives its SQL from the structs of ``rows``, so that a new field needs
a migration and nothing else. ``embedded`` runs a private Postgres in the data directory. ``memory`` is the twin for
tests and simulation: the same answers, the same refusals, and faults on request. One contract suite runs over both.
"""
