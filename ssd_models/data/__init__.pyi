from .class_labels import Classes as Classes
from .opening import open_images as open_images, to_float as to_float, to_uint8 as to_uint8
from .preparing import prepare as prepare
from .source import ImageSource as ImageSource
