// What dataset.c and the formats share. A format is one file and one row in dataset.c's table.
#pragma once

#include "coordinator/dataset/dataset.h"

enum { DATASET_NAME_SIZE = 80, DATASET_PLACE_SIZE = 200 };

struct dataset_format {
	const char *in_folder, *in_archive; // what is looked for; NULL: the format is not found in such a place
	// Whether a folder, or an archive with such a member, is of the format.
	bool (*find)(const char *folder, bool *ret_found, struct error *error);
	bool (*has_member)(const char *name);
	// Fills the dataset. Whatever it returns, `close` is called in the end, also for a dataset that is half open.
	bool (*open)(const char *path, bool is_folder, uint32_t image_size, struct dataset *dataset,
		     struct error *error);
	void (*close)(struct dataset *dataset);
	// Reads the image of one sample. Any thread. Errors name its file, not its number.
	bool (*read)(const struct dataset *dataset, uint64_t sample, uint8_t *image, struct error *error);
	bool is_slow; // to read: several threads should
};

struct dataset {
	const struct dataset_format *format;
	void *state;                         // of the format
	char name[DATASET_NAME_SIZE];        // "CIFAR-10 (binary version)"
	char remark[DATASET_NAME_SIZE];      // "resized and cropped"; may be empty
	char validation[DATASET_PLACE_SIZE]; // where that part is; empty: there is none
	uint64_t count;
	uint32_t classes, image_size; // pixels of a side
	char **class_names;           // [classes]; NULL: they have none
	uint8_t *labels;              // [count]
	struct dataset_tensor tensors[DATASET_INPUTS];
};

extern const struct dataset_format dataset_cifar_10, dataset_cifar_100, dataset_folder, dataset_webdataset;

// Whether a network can be trained on so many classes: 2 to DATASET_MAXIMUM_CLASSES.
bool dataset_check_class_count(uint64_t classes, struct error *error);
