// The image files of one class folder and of the folders in it. One thread.
#pragma once

#include "coordinator/dataset/names.h"

// Adds the names of the folders in `folder`, sorted by their bytes; a symbolic link to a folder is one. Errors name `folder`.
bool class_folder_list(const char *folder, struct names *ret_names, struct error *error);
// Adds the paths of the class's image files below `root`: folder by folder in the order of their paths, files sorted by name in each, as
// torchvision's ImageFolder does. Refuses symbolic links that form a loop, links that lead nowhere, and images of formats that cannot be
// read. With `first_only` one file is enough. Errors name the file or folder.
bool class_folder_files(const char *root, const char *class_name, bool first_only, struct names *files,
			struct error *error);
