/*
 * version.h - the version of ipclab, as `ipclab --version` and every result tell it.
 */
#ifndef IPCLAB_VERSION_H
#define IPCLAB_VERSION_H

#define IPCLAB_VERSION "0.1.0"

#endif
