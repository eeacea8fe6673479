"""Texts for help and error messages: the forms of datasets, and how pictures are treated."""

HUB_PREFIX = "hf:"  # marks the name of a dataset or model of the Hugging Face hub

DATA_FORMS = (
    "`photos` or `glyphs` (built in; `glyphs:ABC` for some characters), a folder or .zip of "
    "images, an .npz or .npy of uint8 (N, R, R, C) or grey (N, R, R), a directory written by "
    "`ssd prepare`, "
    "hf:NAME[:SPLIT[:COLUMN[:LABELS]]] (Hugging Face datasets), or celeba:WHERE, celebahq:WHERE, "
    "imagenet:WHERE"
)

DATA_HELP = f"""{DATA_FORMS[0].upper()}{DATA_FORMS[1:]}. NAME is a dataset of the hub, or a local
folder or parquet, arrow or json file; WHERE is any other form of data, such as
celeba:img_align_celeba.zip, celeba:hf:nielsr/CelebA-faces,
celebahq:hf:mattymchen/celeba-hq:train+validation, imagenet:ILSVRC/ or
imagenet:hf:ILSVRC/imagenet-1k; its number of images is checked.""".replace("\n", " ")

# A summary of `decoding`.
IMAGE_RULE = (
    "Image files are rotated according to EXIF, cropped to their central square and downsampled by "
    "a Lanczos filter; files smaller than the resolution are refused. Grey images become RGB, "
    "transparent ones are composited on white, palettes and CMYK are converted. Of 16-bit samples "
    "the upper eight bits are used; 32-bit samples are refused. Of an animation the first frame is "
    "used."
)
