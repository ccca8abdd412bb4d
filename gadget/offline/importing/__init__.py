"""Raw data of other formats -> ISMRMRD: one reader per format, one header and one writer."""
