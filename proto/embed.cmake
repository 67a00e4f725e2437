# Writes the bytes of INPUT into OUTPUT, a C file that defines what descriptor_set.h declares.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"proto/descriptor_set.h\"\n
const uint8_t descriptor_set[] = {\n${bytes}\n};
const size_t descriptor_set_bytes = sizeof(descriptor_set);\n")
