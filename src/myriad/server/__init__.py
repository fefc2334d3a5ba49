"""The composition root: one process that holds core, journal, ledger, engine, gateway and the REST API.

    routes -> wheel (inbox -> Core.step -> journal -> observers, answers, orders) -> engine
                 ^                                                                      |
                 +----------------------- observations, timers -------------------------+

`plane` puts the parts together, `wheel` turns them, `routes` has one file for each noun of the API.
"""
