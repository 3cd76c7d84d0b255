/** The transport over TCP, on reactor-netty. */
@NullMarked
package io.pageflux.transport.tcp;

import org.jspecify.annotations.NullMarked;
