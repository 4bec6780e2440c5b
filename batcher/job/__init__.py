"""What is to be made: a manifest, its models, its sources, and the plan that comes of them.

row.py            one line of a source, with where it came from
near_files.py     the file that a path means where none has exactly that name
diagnostics.py    what is wrong with rows: one sink, judged once
yaml_document.py  YAML -> plain data and the place of every key and value
validation.py     what pydantic finds wrong with a file, as problems in plain words
output.py         where the output of a job lies
wording.py        values and names in sentences; the name that was probably meant
catalog/          the models, one file each
geometry/         where the source lies in the picture
manifest/         YAML -> Manifest
sources/          where rows come from: a module for each kind of source
labels/           boxes, label files and masks of the pictures in these rows
inputs/           the rows of a job: its sources joined
starter/          a first manifest for a model and a folder of pictures
plan/             manifest and rows -> tasks
"""
