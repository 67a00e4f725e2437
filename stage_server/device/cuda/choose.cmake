# Whether the CUDA device is built: PENSTOCK_HAS_CUDA. Included at the top, since a language is enabled where all targets see it.
include(${CMAKE_CURRENT_LIST_DIR}/sources.cmake)
set(PENSTOCK_HAS_CUDA OFF)
find_program(PENSTOCK_NVCC nvcc HINTS $ENV{CUDACXX} ${CUDAToolkit_ROOT} $ENV{CUDA_PATH} /usr/local/cuda PATH_SUFFIXES bin)
mark_as_advanced(PENSTOCK_NVCC)
if(NOT PENSTOCK_NVCC)
  list(PREPEND PENSTOCK_CUDA_MISSING nvcc)
endif()
list(JOIN PENSTOCK_CUDA_MISSING ", " missing)

if(PENSTOCK_CUDA STREQUAL "OFF")
  message(STATUS "CUDA device: off, as PENSTOCK_CUDA says")
elseif(PENSTOCK_CUDA STREQUAL "ON" AND missing)
  message(FATAL_ERROR "PENSTOCK_CUDA is ON, and ${missing} not found: install the CUDA toolkit and cuDNN, or name the toolkit's "
                      "folder by -DCUDAToolkit_ROOT")
elseif(missing)
  message(STATUS "CUDA device: off, ${missing} not found (PENSTOCK_CUDA is AUTO)")
elseif(PENSTOCK_CUDA MATCHES "^(AUTO|ON)$")
  set(PENSTOCK_HAS_CUDA ON)
else()
  message(FATAL_ERROR "PENSTOCK_CUDA is \"${PENSTOCK_CUDA}\": must be AUTO, ON or OFF")
endif()
if(NOT PENSTOCK_HAS_CUDA)
  return()
endif()

# Volta and older are gone from CUDA 13; what is newer than 9.0 compiles its PTX when it is first used.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90)
endif()
# How kernels are compiled. As the CPU device: a product and a sum round apart (kernels/device.cuh says why). They are bound by memory, so
# one that spills registers to it, or keeps an array there, is a mistake.
set(PENSTOCK_CUDA_OPTIONS -O3 -fmad=false -Xptxas=--warn-on-spills,--warn-on-local-memory-usage
    -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter --Werror=all-warnings)
set(CMAKE_CUDA_COMPILER ${PENSTOCK_NVCC} CACHE FILEPATH "nvcc")
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
message(STATUS "CUDA device: on, nvcc ${CMAKE_CUDA_COMPILER_VERSION}, headers in ${PENSTOCK_CUDA_INCLUDES}, "
               "for ${CMAKE_CUDA_ARCHITECTURES} (PENSTOCK_CUDA is ${PENSTOCK_CUDA})")
