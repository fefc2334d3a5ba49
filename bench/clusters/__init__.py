"""What the benchmark of a real cluster is made of: one queue of gangs, two who run it, one way to measure.

`work` (the gangs, and what each leaves behind) -> `plain` (Slurm by itself), `held` (Slurm under Myriad) ->
`watch` (Slurm's own log, the same for both) -> `figures`; `drift` compares the two books at the end.
"""
