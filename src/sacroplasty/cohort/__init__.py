"""Many cases at once: the workflow over a cohort, and trials on virtual patients.

Every case ends in one row, ok or failed with a sentence, whatever happens to the workers; nothing is run twice whose
contents have not changed. `run.run_cohort` runs a cohort, `trial.run_trial` a trial, `verbs` are the command line's.
Nothing is imported here, so that the command line starts fast; Dask is loaded only when it is used.
"""
