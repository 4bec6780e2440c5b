"""Labels of source pictures: boxes in a row's columns, label files, masks. All that is read of them from
files is read here.

    categories.py     the classes of objects: ids, names, order, of all the job's data sets
    label_files.py    the label file that a row names: YOLO, Pascal VOC
    coco_file.py      COCO files, told from other JSON
    voc_file.py       a Pascal VOC annotation
    picture_size.py   whether a picture has the size that its labels say
    voc_layout.py     the folders of a Pascal VOC data set
    uncarried.py      what looks like labels and is not carried
    mask_colours.py   masks of classes that go as masks of what is painted anew
    label_checks.py   rows whose labels cannot be read, told before their picture is paid for

Rule: what a label means in a delivered picture is computed in `geometry`, which reads nothing.

This file imports nothing of the manifest: `batcher status` reads the ledger, and must start at once.
"""

from batcher.job.labels.label_files import label_file, names_label_file, read_label_file

__all__ = ["label_file", "names_label_file", "read_label_file"]
