"""Texts for help and error messages: the forms of datasets, and how pictures are treated."""

HUB_PREFIX = "hf:"  # marks the name of a dataset or model of the Hugging Face hub

DATA_FORMS = (
    "`photos` or `glyphs` (built in; `glyphs:ABC` for some characters), a folder or .zip of "
    "images, an .npz or .npy of uint8 (N, R, R, C) or grey (N, R, R), a directory written by "
    "`ssd prepare`, "
    "hf:NAME[:SPLIT[:COLUMN[:LABELS]]] (Hugging Face datasets), or celeba:WHERE, celebahq:WHERE, "
    "imagenet:WHERE"
)

DATA_HELP = f"""{DATA_FORMS[0].upper()}{DATA_FORMS[1:]}. A NAME is one of the hub, or a local
folder or parquet, arrow or json file; WHERE is any other form, such as celeba:img_align_celeba.zip,
celeba:hf:nielsr/CelebA-faces, celebahq:hf:mattymchen/celeba-hq:train+validation,
imagenet:ILSVRC/ or imagenet:hf:ILSVRC/imagenet-1k; its number of images is checked.""".replace(
    "\n", " "
)

# A summary of `decoding`.
IMAGE_RULE = (
    "Pictures are turned as EXIF says, cut to their central square and reduced by Lanczos; smaller "
    "ones are refused. Grey is repeated, alpha laid over white, palettes and CMYK converted; of 16 "
    "bits the upper eight are kept, 32-bit samples refused; of an animation the first frame is "
    "taken."
)
