// coordinator/dataset on an archive: what is accepted has samples and classes within the limits, labels below the number of classes, and
// names no file outside of its folder. Images that do not decode are errors of theirs alone.
#include <string.h>

#include "coordinator/dataset/dataset.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[3 * 32 * 32];
	struct dataset *dataset;
	struct error error = {0};
	char text[DATASET_TEXT_SIZE];
	if (!dataset_open(fuzz_file(data, size), 16, &dataset, &error)) {
		DEMAND(error.code == ERROR_USAGE && strncmp(error.message, "dataset ", 8) == 0);
		return 0;
	}
	uint64_t count = dataset_count(dataset);
	uint32_t classes = dataset_classes(dataset);
	DEMAND(count >= 1 && classes >= 2 && classes <= DATASET_MAXIMUM_CLASSES);
	DEMAND(dataset_tensor_bytes(dataset_tensor(dataset, DATASET_IMAGES)) <= sizeof(image));
	DEMAND(dataset_check_classes(dataset, classes, &error));
	DEMAND(strlen(dataset_describe(dataset, text)) > 0);
	for (uint64_t i = 0; i < count && i < 4; i++) {
		uint8_t label = 0xff;
		if (dataset_read(dataset, &i, 1, (void *[]){image, &label}, &error))
			DEMAND(label < classes);
		else
			DEMAND(error.code == ERROR_USAGE);
	}
	dataset_close(dataset);
	return 0;
}
