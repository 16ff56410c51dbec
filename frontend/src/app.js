// What every page of the portal runs: htmx for fragments, Alpine (its build for a strict content security
// policy) for what happens inside a page, Tabler for menus and dialogs.
import htmx from 'htmx.org'
import Alpine from '@alpinejs/csp'
import '@tabler/core'

window.htmx = htmx
window.Alpine = Alpine
Alpine.start()
