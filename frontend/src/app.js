// What every page of the portal runs: htmx for fragments, Alpine (its build for a strict content security
// policy) for what happens inside a page; dialogs, notices and live events are the browser's own.
import htmx from 'htmx.org'
import Alpine from '@alpinejs/csp'
import './parts/alpine.js'
import './parts/parameters.js'
import { startClock } from './parts/clock.js'
import './parts/dialogs.js'
import './parts/tabs.js'
import './parts/notices.js'
import './parts/live.js'

// What somebody has folded out stays so when it is drawn anew.
htmx.config.morphIgnore = [...htmx.config.morphIgnore, 'open']
window.htmx = htmx
window.Alpine = Alpine
startClock()
Alpine.start()
