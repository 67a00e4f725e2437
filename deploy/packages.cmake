# What is installed beside the programs, and the Debian packages that cpack -G DEB makes: penstock (coordinator) and penstockd
# (daemon), an install component each. Rules of the component "source" are for cmake --install alone; those with
# EXCLUDE_FROM_ALL, with their absolute paths, are for packages alone: cmake --install writes nowhere but below its prefix.
set(debian ${CMAKE_CURRENT_LIST_DIR}/debian)
find_program(GZIP gzip REQUIRED)

# penstock_compress(OUTPUT SOURCE): makes build/documents/OUTPUT, the same bytes for the same source.
function(penstock_compress output source)
  set(compressed ${PROJECT_BINARY_DIR}/documents/${output})
  get_filename_component(folder ${compressed} DIRECTORY)
  add_custom_command(OUTPUT ${compressed} DEPENDS ${source} VERBATIM
    COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
    COMMAND sh -c "exec \"$1\" -9cn <\"$2\" >\"$3\"" compress ${GZIP} ${source} ${compressed})
  set_property(GLOBAL APPEND PROPERTY penstock_compressed ${compressed})
endfunction()

# ---- manual pages and completion
function(penstock_manual component)
  foreach(page ${ARGN})
    string(REGEX MATCH "[0-9]$" section ${page})
    penstock_compress(man/${page}.gz ${PROJECT_SOURCE_DIR}/docs/man/${page})
    install(FILES ${PROJECT_BINARY_DIR}/documents/man/${page}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section}
            COMPONENT ${component})
  endforeach()
endfunction()
penstock_manual(penstock penstock.1 penstock-slurm.1)
penstock_manual(penstockd penstockd.8 penstockd.conf.5)

foreach(program penstock penstockd)
  install(FILES deploy/completion/${program} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
          COMPONENT ${program})
endforeach()
install(PROGRAMS deploy/slurm/penstock-slurm DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT penstock)
install(FILES deploy/slurm/penstock.sbatch DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/penstock/examples COMPONENT penstock)

# ---- the unit and its files
# The unit names the program by its whole path, which the prefix decides, and that is known when it is installed.
install(CODE "set(unit_source \"${PROJECT_SOURCE_DIR}/deploy/systemd/penstockd.service\")
  set(unit \"${PROJECT_BINARY_DIR}/documents/penstockd.service\")
  set(program \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/penstockd\")
  file(READ \"\${unit_source}\" text)
  string(REPLACE /usr/bin/penstockd \"\${program}\" text \"\${text}\")
  file(WRITE \"\${unit}\" \"\${text}\")
  file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\" TYPE FILE FILES \"\${unit}\")"
  COMPONENT penstockd)
install(FILES ${debian}/penstockd.conf DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/penstockd/examples COMPONENT source)
install(FILES ${debian}/penstockd.conf DESTINATION /etc/penstock COMPONENT penstockd EXCLUDE_FROM_ALL)
install(FILES ${debian}/penstockd.default DESTINATION /etc/default RENAME penstockd COMPONENT penstockd EXCLUDE_FROM_ALL)

# ---- what Debian's policy wants in each package
penstock_compress(changelog.gz ${PROJECT_SOURCE_DIR}/CHANGELOG.md)
string(TIMESTAMP date "%a, %d %b %Y 00:00:00 +0000" UTC) # or $SOURCE_DATE_EPOCH
set(release 1)
set(CPACK_PACKAGE_CONTACT "Penstock maintainers <maintainers@users.noreply.penstock.example>")
foreach(program penstock penstockd)
  configure_file(${debian}/changelog.in ${PROJECT_BINARY_DIR}/documents/${program}/changelog.Debian @ONLY)
  penstock_compress(${program}/changelog.Debian.gz ${PROJECT_BINARY_DIR}/documents/${program}/changelog.Debian)
  install(FILES ${PROJECT_BINARY_DIR}/documents/changelog.gz ${PROJECT_BINARY_DIR}/documents/${program}/changelog.Debian.gz
          ${debian}/copyright DESTINATION /usr/share/doc/${program} COMPONENT ${program} EXCLUDE_FROM_ALL)
endforeach()
get_property(compressed GLOBAL PROPERTY penstock_compressed)
add_custom_target(documents ALL DEPENDS ${compressed})

# ---- cpack
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME penstock)
set(CPACK_PACKAGE_VENDOR Penstock)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has its own
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL penstock penstockd)
set(CPACK_COMPONENTS_GROUPING IGNORE) # a package a component
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_PENSTOCK_PACKAGE_NAME penstock)
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_SUGGESTS "penstockd, gnuplot-nox, slurm-client")
set(CPACK_DEBIAN_PENSTOCK_DESCRIPTION "pipeline-parallel training of neural networks: coordinator
Penstock trains neural networks whose layers are split over several
machines. This package has the command that plans a job, cuts the model into
stages, and drives it over the daemons of the penstockd package, which it
reaches over the network or starts on this machine.")

set(CPACK_DEBIAN_PENSTOCKD_PACKAGE_NAME penstockd)
set(CPACK_DEBIAN_PENSTOCKD_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PENSTOCKD_PACKAGE_SUGGESTS penstock)
set(CPACK_DEBIAN_PENSTOCKD_PACKAGE_CONTROL_EXTRA
    "${debian}/penstockd/conffiles;${debian}/penstockd/postinst;${debian}/penstockd/prerm;${debian}/penstockd/postrm")
set(CPACK_DEBIAN_PENSTOCKD_DESCRIPTION "pipeline-parallel training of neural networks: stage daemon
Penstock trains neural networks whose layers are split over several
machines. This package has the service that holds stages of models on a
machine's GPUs or processors and exchanges tensors with its neighbours.

GPUs need NVIDIA's driver, cuBLAS and cuDNN, which are looked for when the
service starts, and which this package does not depend on.")
include(CPack)
