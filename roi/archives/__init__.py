"""Archives and tables of pictures, read as folders are: ``photos.zip/cats/1.jpg`` is a path.

A member is read where it lies; nothing is unpacked to disk. Zip and tar are read by the standard
library, Parquet by pyarrow.

For other packages: `archive`, `opening`, `pattern`.
"""
