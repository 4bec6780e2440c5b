"""The folders of a Pascal VOC data set, as they are read and as they are written.

Form: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, the development kit.
"""

from __future__ import annotations

PICTURES, ANNOTATIONS = "JPEGImages", "Annotations"
CLASS_MASKS, OBJECT_MASKS = "SegmentationClass", "SegmentationObject"
IMAGE_SETS = "ImageSets"
"""Lists of the pictures of each set, in a folder for each kind of task."""
