/** The operators' page, and the local server behind it. */
export { Dashboard, type DashboardOptions, type DashboardPorts } from './dashboard.ts';
