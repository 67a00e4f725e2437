// coordinator/dataset/cifar: what is accepted is whole records with labels from 0 to 9, and they are the file's bytes. The first
// byte says whether the file is training data or test data.
#include <string.h>
#include <unistd.h>

#include "coordinator/dataset/cifar.h"
#include "tests/fuzz/fuzz.h"

static const char *make_folder(const char *file)
{
	static char paths[2][128];
	static const char *const names[] = {"data_batch_1.bin", "test_batch.bin"};
	for (int i = 0; i < 2 && paths[i][0] == '\0'; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", fuzz_folder(), names[i]);
		DEMAND(symlink(file, paths[i]) == 0);
	}
	return fuzz_folder();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cifar set;
	struct error error = {0};
	if (size == 0)
		return 0;
	bool test = data[0] % 2 == 1;
	const uint8_t *bytes = data + 1;
	size--;
	if (!cifar_read(&cifar_10, make_folder(fuzz_file(bytes, size)), test, &set, &error)) {
		DEMAND(error.code == ERROR_USAGE && strstr(error.message, test ? "test_batch" : "data_batch") != NULL);
		return 0;
	}
	DEMAND(set.count >= 1 && set.count * CIFAR_RECORD_BYTES == size && memcmp(set.records, bytes, size) == 0);
	for (uint64_t i = 0; i < set.count; i++)
		DEMAND(cifar_label(&set, i) < CIFAR_CLASSES && cifar_image(&set, i) == set.records + i * 3073 + 1);
	cifar_fini(&set);
	return 0;
}
