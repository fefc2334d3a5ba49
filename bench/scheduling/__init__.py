"""What the benchmark of scheduling quality is made of: one workload, three schedulers, one way to measure.

`workload` (the queue) -> `brain` (Myriad), `peers` (first-fit FIFO, EASY) -> `measure` (figures) -> `plots`;
`optimum` solves small instances exactly, `instances` makes them and compares.
"""
