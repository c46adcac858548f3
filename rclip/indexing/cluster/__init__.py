"""Photos read and encoded by several machines. This one compares, stores, and is the only one that has the index.

The seam is `PhotoReaders.read`: paths in batches to results. `dispatch` is today's implementation, over whatever can
run a function on a machine (`Engine`); `dask_engine` is that. `source` makes outcomes of the results.
"""
