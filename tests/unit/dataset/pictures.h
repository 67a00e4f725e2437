// Images and folders that the tests of datasets write. A picture is 8-bit RGB: pixel (x, y, c) of seed s is picture_value(s, x, y, c).
#pragma once

#include <png.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { PICTURE_MAXIMUM = 64 };

static inline uint8_t picture_value(unsigned seed, unsigned x, unsigned y, unsigned c)
{
	return (uint8_t)(seed * 31 + x * 3 + y * 5 + c * 70);
}

// (height, width, 3)
static inline void picture_fill(unsigned seed, unsigned width, unsigned height, uint8_t *into)
{
	for (unsigned i = 0; i < width * height * 3; i++)
		into[i] = picture_value(seed, i / 3 % width, i / 3 / width, i % 3);
}

// `format` is one of libpng's PNG_FORMAT_...; `colors` is for a palette. False: it was not written.
static inline bool picture_write_png(const char *path, unsigned width, unsigned height, png_uint_32 format,
				     const void *pixels, const void *colors, unsigned color_count)
{
	png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = format};
	image.colormap_entries = color_count;
	return png_image_write_to_file(&image, path, 0, pixels, 0, colors) != 0;
}

static inline bool picture_write(const char *path, unsigned seed, unsigned width, unsigned height)
{
	static uint8_t pixels[PICTURE_MAXIMUM * PICTURE_MAXIMUM * 3];
	picture_fill(seed, width, height, pixels);
	return picture_write_png(path, width, height, PNG_FORMAT_RGB, pixels, NULL, 0);
}

// `components` is 1 (grey), 3 (RGB) or 4 (CMYK, as they stand in the file).
static inline bool picture_write_jpeg(const char *path, unsigned width, unsigned height, int components,
				      const uint8_t *pixels, bool progressive)
{
	struct jpeg_compress_struct jpeg;
	struct jpeg_error_mgr errors;
	FILE *file = fopen(path, "wb");
	if (file == NULL)
		return false;
	jpeg.err = jpeg_std_error(&errors);
	jpeg_create_compress(&jpeg);
	jpeg_stdio_dest(&jpeg, file);
	jpeg.image_width = width;
	jpeg.image_height = height;
	jpeg.input_components = components;
	jpeg.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
	jpeg_set_defaults(&jpeg);
	jpeg_set_quality(&jpeg, 100, TRUE);
	if (progressive)
		jpeg_simple_progression(&jpeg);
	jpeg_start_compress(&jpeg, TRUE);
	while (jpeg.next_scanline < height) {
		JSAMPROW row = (JSAMPROW)(pixels + (size_t)jpeg.next_scanline * width * (unsigned)components);
		jpeg_write_scanlines(&jpeg, &row, 1);
	}
	jpeg_finish_compress(&jpeg);
	jpeg_destroy_compress(&jpeg);
	return fclose(file) == 0;
}

__attribute__((format(printf, 1, 2))) static inline int run_command(const char *format, ...)
{
	char command[1000];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	return system(command);
}
